# Licences.
license-title = Licence
license-list-title = Licences
license-list-hint = What your mine may run, and on how many nodes.
license-admin-title = All licences
license-admin-hint = Suspend, reinstate or revoke a licence. Each decision is recorded with its reason.
license-admin-empty-title = No licences yet
license-admin-empty-text = A licence is issued as soon as the payment of an order is confirmed.
license-empty-title = No licences yet
license-empty-text = Order an app. Its licence appears here as soon as the payment is confirmed; a free trial at once.
license-empty-action = Browse apps
license-deploy = Deploy
license-order-again = Order again
license-download = Licence file
license-file-hint = The licence file is a signed token (JWT) for all nodes that hold a seat. Anyone can check it offline with the platform's public keys.
license-app = App
license-vendor = Developer
license-operator = Operator
license-plan = Plan
license-plan-subscription = Yearly subscription
license-plan-perpetual = Perpetual licence
license-plan-trial = Free trial
license-versions = Versions
license-versions-all = All versions
license-versions-major = { $versions }
license-from = Valid from
license-until = Valid through
license-no-end = No end
license-grace = Grace period
license-grace-days = { $n ->
    [one] { $n } day
   *[other] { $n } days
}
license-after = Afterwards
license-enforcement-block = The app stops
license-enforcement-advisory = The app runs on with a warning
license-safety-block = Safety app: it never stops; only new deployments and updates need a valid licence
license-safety-advisory = Safety app: it never stops; only new deployments and updates need a valid licence
license-number = Number
license-state = State
license-terms = Terms
license-seats = Seats
license-seats-used = Seats used
license-activations = Nodes with a seat
license-node = Node
license-since = Since
license-use = In use by
license-deployment = Deployment
license-seats-empty-title = No node has a seat yet
license-seats-empty-text = A node takes a seat when you deploy the app to it.
license-release = Free the seat
license-release-confirm = Take the licence off { $node }? Nothing of this app is deployed there any more.
license-seat-freed = The seat is free.
license-verdict-perpetual = Valid, without end.
license-verdict-valid = Valid through { $date }.
license-verdict-not-yet-valid = Valid from { $date }.
license-verdict-grace = The licence has ended. What runs goes on through { $date }; new deployments and updates need a renewal.
license-verdict-expired = The licence has ended, and so has its grace period. Order the app again to run it.
license-verdict-expired-safety = The licence has ended. This is a safety app, so it runs on; new deployments and updates need a renewal.
license-verdict-suspended = Suspended by the platform: the app stops on its nodes at their next call and starts again when the licence is reinstated. Until then there are no new deployments or updates.
license-verdict-revoked = Revoked by the platform for good: the app stops on its nodes at their next call.
license-decide = Decide
license-reason = Reason
license-reason-hint = The operator reads it; it is kept in the audit log.
license-suspend-confirm = Suspend the licence of { $operator }? The app stops on { $n ->
    [one] { $n } node
   *[other] { $n } nodes
} at their next call, until the licence is reinstated. The decision is recorded.
license-suspend-confirm-advisory = Suspend the licence of { $operator }? By its terms the app runs on with a warning on { $n ->
    [one] { $n } node
   *[other] { $n } nodes
}; new deployments and updates are refused. The decision is recorded.
license-suspend-confirm-safety = Suspend the licence of { $operator }? This is a safety app: it goes on running on { $n ->
    [one] { $n } node
   *[other] { $n } nodes
}; new deployments and updates are refused. The decision is recorded.
license-reinstate-confirm = Put the licence of { $operator } in force again? The app starts again on the nodes on which it was stopped; it is deployed on { $n ->
    [one] { $n } node
   *[other] { $n } nodes
}. The decision is recorded.
license-revoke-confirm = Revoke the licence of { $operator } for good? The app stops on { $n ->
    [one] { $n } node
   *[other] { $n } nodes
} at their next call. This cannot be undone. The decision is recorded.
license-revoke-confirm-safety = Revoke the licence of { $operator } for good? This is a safety app: it goes on running on { $n ->
    [one] { $n } node
   *[other] { $n } nodes
}; new deployments and updates are refused. This cannot be undone. The decision is recorded.
license-decide-hint = A revoked licence cannot be put in force again. What runs by a suspended or revoked licence is stopped; safety apps that are installed go on running.
license-suspend = Suspend
license-reinstate = Reinstate
license-revoke = Revoke
license-done-suspend = The licence is suspended.
license-done-reinstate = The licence is in force again.
license-done-revoke = The licence is revoked.

error-license = There is no such licence.
error-license-app = There is no such app.
error-license-seat = This node holds no seat of the licence.
error-license-exists = This order has its licence already.
error-license-nodes = A licence is for 1 to 100,000 nodes.
error-app-without-release = The app has no published release yet.
error-license-changed = The licence was changed at the same moment. Please try again.
error-license-state = The licence is not in a state for that. Someone may have decided already; look at its page again.
error-too-many-nodes = All { $limit } seats of the licence are taken. Free one, or order more.
error-license-not-yet-valid = The licence is not valid yet.
error-license-expired = The licence has ended. New deployments and updates need a renewal.
error-license-suspended = The licence is suspended by the platform.
error-license-revoked = The licence was revoked by the platform.
error-license-node-not-activated = The licence is not activated for this node.
error-license-version-not-covered = The licence does not cover this version.
error-license-scope-mismatch = The licence is for another app.
error-seat-in-use = The app is still deployed on this node. Remove it first; the seat is free once the node says that it is gone.
license-verdict-suspended-advisory = Suspended by the platform: what runs goes on with a warning. There are no new deployments or updates until the licence is reinstated.
license-verdict-suspended-safety = Suspended by the platform. This is a safety app, so what runs goes on; there are no new deployments or updates until the licence is reinstated.
license-verdict-revoked-safety = Revoked by the platform for good. This is a safety app, so what is installed goes on; there are no new deployments or updates.
license-notice-suspended = The licence was suspended on { $date }
license-notice-revoked = The licence was revoked on { $date }
license-notice-reason = Reason: { $reason }
license-next-suspended = Settle what the reason says, then ask the platform to reinstate the licence.
license-next-revoked = It cannot be reinstated. If you object, write to the platform; to use the app again, order it again.
license-seats-revoked-text = The licence is revoked: no node can take a seat any more.
license-history = What was decided
