-- A link that an administrator hands over is of a purpose of its own, so that who asks for one by mail does not end it.
ALTER TABLE one_time_links DROP CONSTRAINT one_time_links_purpose_check;
ALTER TABLE one_time_links ADD CONSTRAINT one_time_links_purpose_check CHECK (purpose IN ('reset-password', 'reset-by-hand', 'prove-address'));
