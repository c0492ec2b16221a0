chain-inferences = { $n } inferences
chain-until = until { $date }
chain-removed = removed
chain-since = since { $date }
chain-unheard = not heard from
