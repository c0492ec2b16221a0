-- How many answers a person has, and since when, is asked for each of their keys: from the index alone.
CREATE INDEX kept_answers_of_people ON kept_answers (organization_id, user_id, created_at);
