-- Figures of what happens in clips.
ALTER TABLE evaluation_sets DROP CONSTRAINT evaluation_sets_metric_check;
ALTER TABLE evaluation_sets ADD CONSTRAINT evaluation_sets_metric_check CHECK (metric IN ('accuracy', 'map-50', 'mask-map-50', 'oks-map-50', 'rmse', 'mae', 'cer', 'event-f1', 'event-precision', 'event-recall', 'crossing-mae'));
