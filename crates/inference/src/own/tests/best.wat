;; The best label of each of 8,400 rows of [84, 8400], as plain C does it: label by label for each row. The body of `run`.
(local $i i32) (local $c i32) (local $at i32) (local $best f32) (local $label i32) (local $s f32)
(loop $rows
  (local.set $best (f32.const -1)) (local.set $c (i32.const 0))
  (local.set $at (i32.add (i32.add (local.get 0) (i32.const 134528)) (i32.shl (local.get $i) (i32.const 2))))
  (loop $labels
    (local.set $s (f32.load (local.get $at)))
    (if (f32.gt (local.get $s) (local.get $best)) (then (local.set $best (local.get $s)) (local.set $label (local.get $c))))
    (local.set $at (i32.add (local.get $at) (i32.const 33600)))
    (local.set $c (i32.add (local.get $c) (i32.const 1)))
    (br_if $labels (i32.lt_u (local.get $c) (i32.const 80))))
  (f32.store (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 2))) (f32.convert_i32_u (local.get $label)))
  (local.set $i (i32.add (local.get $i) (i32.const 1)))
  (br_if $rows (i32.lt_u (local.get $i) (i32.const 8400))))
i64.const 0
