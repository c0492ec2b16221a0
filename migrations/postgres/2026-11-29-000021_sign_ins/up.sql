-- The browser that signed in, by the hash of its cookie: one that signed in before is not held up by strangers' wrong passwords.
ALTER TABLE sessions ADD COLUMN device_hash TEXT;
