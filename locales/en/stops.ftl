stop-touches = What this does
stop-touches-nothing = Nothing else is touched.
stop-reason = Reason
stop-reason-hint = 3 to 500 characters. It is kept in the audit log, and those whom it concerns read it.
stop-not = Do not do it
stop-history = History
stop-held-by = In use
stop-held-by-nobody = Nobody has it.
stop-case = Case
stop-published = Published
stop-reach-people = { $n ->
    [one] { $n } person
   *[other] { $n } people
 }
stop-reach-sessions = { $n ->
    [one] { $n } signed-in browser ends
   *[other] { $n } signed-in browsers end
 }
stop-reach-tokens = { $n ->
    [one] { $n } API token ends
   *[other] { $n } API tokens end
 }
stop-reach-listings = { $n ->
    [one] { $n } listing
   *[other] { $n } listings
 }
stop-reach-licenses = { $n ->
    [one] { $n } licence
   *[other] { $n } licences
 }
stop-reach-deployments = { $n ->
    [one] { $n } deployment
   *[other] { $n } deployments
 }
stop-reach-nodes = { $n ->
    [one] { $n } node
   *[other] { $n } nodes
 }
stop-reach-mines = { $n ->
    [one] { $n } mine
   *[other] { $n } mines
 }
stop-title-recall-release = Recall this version
stop-title-suspend-listing = Suspend this listing
stop-title-resume-listing = Let this listing go on
stop-title-suspend-organization = Suspend this organisation
stop-title-resume-organization = Let this organisation go on
stop-title-disable-person = Disable this account
stop-title-enable-person = Enable this account
stop-title-end-sessions = End all sessions
stop-title-end-session = End this session
stop-title-revoke-token = Revoke this token
stop-what-recall-release = Final. Nobody can pull, deploy or update to this version any more. What runs goes on, safety apps above all: its operators are told on their pages and on their nodes within a minute, with your reason, and decide. Its people get a message, too. The listing and the developer's page say it too.
stop-what-suspend-listing = The app is gone from the market and cannot be ordered. Those who have it keep it: licences, deployments and updates go on. It can be undone.
stop-what-resume-listing = The app is back as it was before. Where its organisation is suspended, it stays hidden with that.
stop-what-suspend-organization = Nobody can act for it any more: its people are told your reason when they sign in, its sessions and API tokens end for good, its listings are suspended with it. Nodes, alarms, licences and deployments go on, its own and those of its buyers. It can be undone.
stop-what-resume-organization = Its people can sign in again and make new tokens. Its listings are back, but for those that are suspended by themselves.
stop-what-disable-person = The person cannot sign in any more, for no organisation, and is told your reason. Their sessions and API tokens, and what these gave access to in the registry, end at once. It can be undone, but tokens stay ended.
stop-what-enable-person = The person can sign in again with the password they had. Sessions and tokens that ended stay ended.
stop-what-end-sessions = The person is signed out everywhere and can sign in again. API tokens go on.
stop-what-end-session = This browser is signed out. The person can sign in again.
stop-what-revoke-token = Programs that use the token stop working at once, also in the registry.
stop-done-recall-release = { $name } is recalled
stop-done-suspend-listing = { $name } is suspended
stop-done-resume-listing = { $name } goes on
stop-done-suspend-organization = { $name } is suspended
stop-done-resume-organization = { $name } goes on
stop-done-disable-person = { $name } is disabled
stop-done-enable-person = { $name } may sign in again
stop-done-end-sessions = { $name } is signed out everywhere
stop-done-end-session = Session ended: { $name }
stop-done-revoke-token = Token revoked: { $name }
organizations-title = Organisations
organizations-suspended = Suspended.
organizations-apps = Apps
organizations-orders = Orders placed
organizations-sold = Orders received
organizations-licenses = Licences
organizations-nodes = Nodes
organizations-deployments = Deployments
organizations-no-people = Nobody belongs to it.
people-name = Name
people-disabled = Disabled since { $date }.
people-end-session = End
people-no-sessions = Signed in nowhere.
people-no-tokens = No tokens that are good.
directory-search = Name, short name or e-mail
directory-find = Find
directory-state = State
directory-none-title = Nothing found
directory-none-text = Search for a part of the name, the short name or the e-mail address.
listing-suspended = Suspended by the platform.
listing-suspended-with = Suspended with its developer.
error-standing-unchanged = It is so already. Reload the page.
error-platform-not-suspended = The platform's own organisation cannot be suspended
error-last-administrator = This is the last administrator of the platform who can sign in. Make another one first.
error-person-disabled = The platform has disabled this account: { $reason }
error-organization-suspended = The platform has suspended your organisation: { $reason }
listing-administer = Recall or suspend
listing-suspended-next = It is not found and cannot be ordered; those who have it keep it. Ask the platform what to change.
