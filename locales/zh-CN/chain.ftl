chain-inferences = 推理 { $n } 次
chain-until = 至 { $date }
chain-removed = 已移除
chain-since = 自 { $date } 起
chain-unheard = 未收到消息
