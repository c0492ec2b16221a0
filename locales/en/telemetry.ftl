# Alarms and plots of the operator.
telemetry-level = Level
telemetry-at-second = in the clip at
telemetry-level-all = All levels
telemetry-level-notice = Notice
telemetry-level-warning = Warning
telemetry-level-critical = Critical
telemetry-filter = Filter
telemetry-alarm = Alarm
telemetry-place = Place
telemetry-source = App and release
telemetry-at = Raised
telemetry-plot-cpu = Processor load
telemetry-plot-p50 = Median
telemetry-plot-p95 = 95th percentile
telemetry-plot-p95-of = { $app }, 95th percentile

error-alarm = There is no such alarm
error-too-many-reports = At most { $max } reports in one request
error-too-many-alarms = More alarms than may be sent in an hour. The node keeps them and sends them again
error-alarm-unknown = The node has told of no such alarm yet
error-pictures-off = The mine wants no pictures of alarms
error-picture-not-blurred = The mine wants blurred pictures only
error-picture-not-jpeg = This is no JPEG picture
error-picture-not-asked = Nobody has asked for this picture
error-picture-gone = The node no longer has this picture
