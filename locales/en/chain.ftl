chain-inferences = { $n } inferences
