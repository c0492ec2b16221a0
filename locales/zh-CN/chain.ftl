chain-inferences = 推理 { $n } 次
