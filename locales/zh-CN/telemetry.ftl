# 使用方的告警与曲线。
telemetry-level = 级别
telemetry-at-second = 片段中的时刻
telemetry-level-all = 全部级别
telemetry-level-notice = 提示
telemetry-level-warning = 警告
telemetry-level-critical = 严重
telemetry-filter = 筛选
telemetry-alarm = 告警
telemetry-place = 地点
telemetry-source = 应用与版本
telemetry-at = 发生时间
telemetry-plot-cpu = 处理器负载
telemetry-plot-p50 = 中位数
telemetry-plot-p95 = 95 分位
telemetry-plot-p95-of = { $app }（95 分位）

error-alarm = 没有这条告警
error-too-many-reports = 一次请求最多 { $max } 条上报
error-too-many-alarms = 每小时可上报的告警已达上限，节点会保留并稍后重新发送
error-alarm-unknown = 节点尚未上报这条告警
error-pictures-off = 该矿不要告警画面
error-picture-not-blurred = 该矿只要模糊处理过的画面
error-picture-not-jpeg = 不是 JPEG 图片
error-picture-not-asked = 没有人索取这张图片
error-picture-gone = 节点上已没有这张图片
