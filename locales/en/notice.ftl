messages-title = Messages
messages-empty = No messages yet
messages-empty-text = What you are told about your account stands here, also where it was sent by mail.
messages-to = To { $address }
messages-at = Time
messages-subject = Message
messages-admin-title = Messages
messages-admin-text = What people were told, and what the mail server said where it could not be sent. Secret links are not shown.
messages-admin-off = This server sends no mail: people read their messages on their own pages. Who asks for a new password gets a link from you.
messages-admin-state = State
messages-admin-all = All
messages-admin-empty = No messages
messages-admin-empty-text = Messages to people stand here until they are too old.
notice-link-in-mail = (the link is in the mail only)
notice-link-by-administrator = (no link was sent: an administrator of the platform can help)
notice-reset-password-subject = New password for Pithead
notice-reset-password-text =
    Somebody, probably you, asked for a new password for { $address } at Pithead. With this link you choose one; it works once, within { $minutes } minutes:

    { $link }

    If it was not you, do nothing: your password stays as it is.
notice-password-changed-subject = Your password for Pithead was changed
notice-password-changed-text =
    The password for { $address } at Pithead was changed, and all other browsers were signed out. API tokens go on: revoke those that somebody else may know.

    If it was not you, ask for a new password on the sign-in page at once, and tell an administrator of the platform.
notice-prove-address-subject = Confirm your address for Pithead
notice-prove-address-text =
    Somebody, probably you, gave { $address } as their address at Pithead. Open this link within { $hours } hours to confirm that it is yours:

    { $link }

    If it was not you, do nothing.
notice-address-in-use-subject = Your address was given at Pithead
notice-address-in-use-text =
    Somebody, probably you, gave { $address } as the address of another account at Pithead. It has an account already, and nothing was changed. Sign in here; the page also helps if you have forgotten the password:

    { $link }

    If it was not you, there is nothing to do.
notice-address-changed-subject = Your address for Pithead was changed
notice-address-changed-text =
    Your account at Pithead now has the address { $address }; this one is not used any more.

    If it was not you, tell an administrator of the platform at once.
notice-release-recalled-subject = Recalled: { $app } { $version }
notice-release-recalled-text =
    The platform has recalled version { $version } of { $app }. Your mine has it in use; deployments: { $n }. Nothing is stopped: whether what runs goes on is yours to decide. The reason, and what to do, stand with the deployments (for { $mine }; switch to it in the menu with your name):

    { $link }
notice-scenario-served-subject = First app for { $scenario }
notice-scenario-served-text =
    You asked to be told when there is an app for “{ $scenario }”. The first one is { $app }:

    { $link }

    You follow this scenario no more.
notice-webhook-off-subject = A webhook was switched off: { $host }
notice-webhook-off-text =
    Nothing came through to your organisation's webhook at { $host } for as long as messages are tried, so it was switched off. What was not delivered stands in its log for seven days and can be sent again:

    { $link }
