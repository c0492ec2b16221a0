DROP TABLE evaluation_scores;
DROP TABLE evaluation_sets;
