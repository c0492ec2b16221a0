DELETE FROM one_time_links WHERE purpose = 'reset-by-hand';
ALTER TABLE one_time_links DROP CONSTRAINT one_time_links_purpose_check;
ALTER TABLE one_time_links ADD CONSTRAINT one_time_links_purpose_check CHECK (purpose IN ('reset-password', 'prove-address'));
