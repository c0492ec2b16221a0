DELETE FROM scenarios;
DELETE FROM specialties;
