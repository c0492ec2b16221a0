-- Sets with the new figures go, with their scores.
DELETE FROM evaluation_scores WHERE set_id IN (SELECT id FROM evaluation_sets WHERE metric IN ('mask-map-50', 'oks-map-50', 'cer'));
DELETE FROM blob_pins WHERE holder IN (SELECT id FROM evaluation_sets WHERE metric IN ('mask-map-50', 'oks-map-50', 'cer'));
DELETE FROM evaluation_sets WHERE metric IN ('mask-map-50', 'oks-map-50', 'cer');
ALTER TABLE evaluation_sets DROP CONSTRAINT evaluation_sets_metric_check;
ALTER TABLE evaluation_sets ADD CONSTRAINT evaluation_sets_metric_check CHECK (metric IN ('accuracy', 'map-50', 'rmse', 'mae'));
