DROP INDEX kept_answers_of_people;
