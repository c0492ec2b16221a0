DROP INDEX releases_recalled;
