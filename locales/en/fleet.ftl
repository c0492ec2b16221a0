# Sites, nodes, deployments.
fleet-today-title = Today
fleet-today-empty-title = Begin with a site
fleet-today-empty-text = A site is a mine or a part of it. Add one, then its edge nodes, then deploy what you have licensed.
fleet-sites = Sites
fleet-site = Site
fleet-nodes = Nodes
fleet-node = Node
fleet-nodes-online = Nodes online
fleet-nodes-note = { $offline } offline, { $waiting } waiting
fleet-apps-running = Apps running
fleet-running-note = { $failed } failed, { $way } under way
fleet-running-unheard = { $n } on nodes that are offline
fleet-waits = Waits for you
fleet-waits-none = Nothing waits for you.
fleet-waits-alarms = Alarms without an answer: { $n }
fleet-waits-nodes = Nodes lost: { $n }
fleet-waits-orders = Orders that wait for payment: { $n }
fleet-waits-license = Licence for { $app }, until { $date }
fleet-waits-updates = Apps with a newer version: { $n }
fleet-nodes-waiting = { $n } waiting
fleet-latest-alarms = Latest alarms
fleet-latest-pictures = Latest pictures of alarms
fleet-all-alarms = All alarms
fleet-no-alarms = No alarms.
fleet-level-notice = Notice
fleet-level-warning = Warning
fleet-level-critical = Critical
fleet-licences-ending = Licences ending
fleet-all-licences = All licences
fleet-no-ending = No licence ends within 30 days.
fleet-app = App
fleet-version = Version
fleet-state = State
fleet-changed = Last change
fleet-deploy = Deploy

fleet-sites-title = Sites
fleet-sites-hint = A site is a mine or a part of it, for example a face, a roadway or the washery.
fleet-sites-empty-title = No sites yet
fleet-sites-empty-text = Nodes stand at a site. Its name is spoken in alarms, so call it what people call it.
fleet-pictures = Pictures of alarms
fleet-pictures-hint = When an alarm begins, its node sends a small picture. A larger one stays with the node until somebody asks for it.
fleet-pictures-blurred = Blurred
fleet-pictures-text-blurred = The node blurs a picture before it sends it.
fleet-pictures-plain = As they are
fleet-pictures-text-plain = The node sends what the camera saw. People can be recognised.
fleet-pictures-off = None
fleet-pictures-text-off = Nodes send no pictures. Those that are here stay as long as their alarms.
fleet-pictures-save = Save
fleet-pictures-chosen = Saved. Each node is told with its next report.
fleet-site-add = Add a site
fleet-site-name = Name of the site
fleet-site-name-hint = For example: Main roadway, 1301 face
fleet-site-added = { $name } was added.

fleet-nodes-title = Nodes
fleet-nodes-empty-title = No nodes yet
fleet-nodes-empty-text = An edge node runs your apps at the site, also without a connection. Adding one takes two commands.
fleet-node-add = Add a node
fleet-node-new-title = Add a node
fleet-node-new-hint = Next you get two commands to run on the machine.
fleet-node-name = Name of the node
fleet-node-name-hint = For example: Belt head 1
fleet-node-create = Add and show the commands
fleet-hardware = Hardware
fleet-hardware-unknown = The node tells what it has at its first call.
fleet-hardware-never = It was removed before it told what it has.
fleet-hardware-model = Model
fleet-hardware-serial = Serial number
fleet-hardware-processor = Processor
fleet-hardware-memory = Memory
fleet-hardware-storage = Storage
fleet-hardware-devices = Devices
fleet-hardware-runtime = Inference
fleet-hardware-providers = Execution providers
fleet-cores = { $n ->
    [one] { $n } core
   *[other] { $n } cores
}
fleet-seen = Last seen
fleet-alarms-lost = { $n ->
    [one] { $n } alarm of this node was lost: it had no room for it.
   *[other] { $n } alarms of this node were lost: it had no room for them.
  } Look at its disk and its line.
fleet-alarms-suppressed = Since the agent started, rules raised { $n ->
    [one] { $n } alarm
   *[other] { $n } alarms
  } more than they may at one time. Their next alarms say how many; see why they flood.
fleet-never-seen = never
fleet-failed-count = { $n } failed
fleet-unheard-count = { $n }, not heard from
fleet-node-state = Node
fleet-waiting-who = Waiting for the node
fleet-waiting-text = Run the commands on the machine. The node appears here by itself.
fleet-silent-who = Waiting for the agent
fleet-silent-text = The node is enrolled, but its agent does not run yet. Run the second command on the machine.
fleet-removed-text = This node was removed. Its certificate is not accepted any more, so it hears of nothing: its apps run on until their licences end, and their alarms do not arrive here. Stop the agent on the machine and delete its data folder.
fleet-agent = Agent
fleet-certificate = Certificate valid until
fleet-identity = Identity
fleet-node-no-apps = Nothing is deployed on this node.
fleet-sources = Cameras and sources
fleet-sources-empty-title = No cameras yet
fleet-sources-empty-text = They are added on the node's own page, at the address /sources of its local API, or in sources.json in its data folder.
fleet-sources-unheard = The node is not heard from. This is its last word.
fleet-sources-troubled = { $n ->
    [one] { $n } camera with trouble
   *[other] { $n } cameras with trouble
}
fleet-source = Source
fleet-source-kind = Kind
fleet-source-since = Since
fleet-source-apps = Apps that look at it
fleet-source-no-apps = None
fleet-source-kind-rtsp = Camera (RTSP)
fleet-source-kind-file = Video file
fleet-source-kind-snapshot = Snapshots (HTTP)
fleet-source-kind-folder = Folder of pictures
fleet-source-kind-mqtt = Sensors (MQTT)
fleet-source-kind-modbus-tcp = Sensors (Modbus TCP)
fleet-events = What happened
fleet-event-changed = Changed: { $what }
fleet-event-by = by { $name }
fleet-command-title = Run this on the machine
fleet-command-text = First: this command makes a key on the machine and enrols it. The code in it works once.
fleet-run-text = Second: this command runs the agent. Keep it running, in the same folder as the first one.
fleet-run-hint = The library is that of ONNX Runtime, version 1.24 or newer: download the archive for this machine from github.com/microsoft/onnxruntime/releases and name the libonnxruntime.so in it. The node serves 127.0.0.1:9101; add --listen 0.0.0.0:9101 where programs on other machines ask it.
fleet-code-until = The code is good until { $at }.
fleet-code-elsewhere = A code is open until { $at }. It is only shown in the browser that asked for it; ask for a new one if it is lost.
fleet-code-over = The code has ended, so its command does not work any more. Make a new one.
fleet-code-ready = The commands are ready.
fleet-plots = Measurements
fleet-plot-latency = Latency, median and 95th percentile
fleet-plot-latency-several = Latency, 95th percentile of each app
fleet-plot-inferences = Inferences
fleet-failed-inputs = Inputs refused or failed
fleet-plot-inferences-rate = Inferences per minute
fleet-plot-memory = Memory
fleet-plot-cpu = Processor
fleet-plot-empty = Nothing was measured in this hour.
fleet-node-manage = Manage the node
fleet-new-code = New code
fleet-new-code-confirm = Make a new code for { $name }? A code that was given out before is void at once.
fleet-new-code-hint = For a machine that is set up anew. The old code is void at once.
fleet-remove = Remove the node
fleet-remove-hint = The node is not accepted any more from its next call on. Its deployments end here and its seats are free; on the machine its apps run on until their licences end. Stop the agent there.
fleet-remove-confirm = Remove { $name }? { $n ->
    [0] Nothing is deployed on it.
    [one] One deployment ends here; on the machine its app runs on until its licence ends, so stop the agent there.
   *[other] { $n } deployments end here; on the machine their apps run on until their licences end, so stop the agent there.
}
fleet-node-removed = The node was removed. Now stop the agent on the machine.

fleet-deploy-title = Deploy
fleet-step-app = App
fleet-step-nodes = Nodes
fleet-step-parameters = Parameters
fleet-step-preview = Preview
fleet-step-app-hint = Choose a licence and the version to deploy.
fleet-choose = Choose
fleet-next = Next
fleet-back = Back
fleet-need = Needs:
fleet-fit = Fits
fleet-fit-fits = Fits
fleet-fit-unknown = Not known yet
fleet-fit-format = Agent too old
fleet-fit-architecture = Other processor
fleet-fit-cores = Too few cores
fleet-fit-memory = Too little memory
fleet-fit-accelerator = No accelerator
fleet-now = There now
fleet-present = Version { $version }
fleet-present-same = This version
fleet-present-seat = Holds a seat
fleet-choose-missing = One of the chosen nodes is not enrolled, or is not there any more. Choose again.
fleet-choose-seats = { $chosen ->
    [one] { $chosen } node without a seat
   *[other] { $chosen } nodes without a seat
} chosen, { $free ->
    [one] { $free } seat
   *[other] { $free } seats
} free. Choose fewer nodes, or order more seats.
fleet-chosen = Chosen
fleet-order = Order { $number }
fleet-validity = { $from } – { $until }
fleet-or = or
fleet-seats-free = { $free } of { $owned } seats free
fleet-seats-taken = { $n ->
    [0] Takes no further seat of the licence; { $left } stay free.
    [one] Takes { $n } seat of the licence; { $left } left afterwards.
   *[other] Takes { $n } seats of the licence; { $left } left afterwards.
}
fleet-choose-empty-title = No enrolled nodes
fleet-choose-empty-text = An app is deployed to a node that has called in. Add a node first.
fleet-on-nodes = On
fleet-no-parameters = This app has nothing to set.
fleet-range = From { $min } to { $max }.
fleet-range-min = At least { $min }.
fleet-range-max = At most { $max }.
fleet-preview = Preview
fleet-preview-title = This will change
fleet-change = Change
fleet-change-install = Install { $version }
fleet-change-update = Update from { $from } to { $to }
fleet-change-reconfigure = Same version, new settings
fleet-change-same = Nothing changes
fleet-nothing-changes = Nothing changes on these nodes.
fleet-start = Start
fleet-deploy-started = Started on { $n ->
    [one] { $n } node
   *[other] { $n } nodes
}.

fleet-deployments-title = Deployments
fleet-deployments-empty-title = Nothing is deployed yet
fleet-deployments-empty-text = Choose a licence, a version and nodes. You see what will change before it starts.
fleet-deployment-title = Deployment
fleet-next-title = What happens next
fleet-next-pending = The node takes the change at its next call, usually within seconds.
fleet-next-installing = The node fetches and checks the app, then proves it on its golden samples.
fleet-next-installed = The app runs. Nothing has to be done.
fleet-next-zones = The app runs. It needs zones that are drawn with each input: { $zones }. Where they are not, it raises none of the alarms that hang on them, and its answer lists them as undrawn.
fleet-needs-zones = This app needs zones in the camera's picture: { $zones }. They go with each input that your program sends to the node (`scene`). Without them the alarms that hang on them are never raised.
fleet-next-installed-offline = The node is offline: whether the app runs now is not known here. A node goes on without the platform; its alarms come when it is back. Look at its power and its line.
fleet-next-installed-license = The app runs, as the node said last. { $verdict }
fleet-next-safety-suspended = The licence is suspended. The app runs on because it is a safety app. Ask the platform to reinstate the licence; until then there are no new deployments and updates.
fleet-next-safety-expired = The licence has ended. The app runs on because it is a safety app. Renew the licence; until then there are no new deployments and updates.
fleet-next-safety-revoked = The licence is revoked. The app runs on because it is a safety app. Order it again; until then there are no new deployments and updates.
fleet-next-failed-nothing = The node could not do it. Nothing runs yet. Correct the cause, then deploy again.
fleet-next-failed-former = The node could not do it. What ran before goes on. Correct the cause, then deploy again.
fleet-next-failed-stopped = The app ran, but the node cannot keep it running. It goes on trying by itself; correct the cause.
fleet-next-license = { $what } { $then }
fleet-next-license-nothing = The licence does not allow this. Nothing runs.
fleet-next-license-former = The licence does not allow the change. What ran before goes on.
fleet-next-license-stopped = The app was stopped because of its licence.
fleet-next-license-stopping = The node stops the app at its next call, because of the licence.
fleet-next-license-then-suspended = The licence is suspended by the platform. When it is reinstated, the app starts again by itself.
fleet-next-license-then-expired = The licence has ended. Renew it: order the app again, then deploy it by the new licence.
fleet-next-license-then-revoked = The licence is revoked by the platform for good. Order the app again, then deploy it by the new licence.
fleet-next-license-then-other = See what the licence says, then deploy again.
fleet-next-removing = The node takes the app away at its next call.
fleet-next-removed = The app is gone from this node.
fleet-next-node-removed = The node was removed and hears of nothing any more. What was installed runs on the machine, without reporting alarms here, until its licence ends: stop the agent there and delete its data folder.
fleet-next-node-silent = The agent of the node does not run yet. Run the second command of the node's page; then the node takes the change.
fleet-next-node-offline = The node is offline. It takes the change when it is back.
fleet-figures = Last heartbeat
fleet-no-figures = No heartbeat from this app yet.
fleet-sampled = Received
fleet-restarts = Restarts of its process
fleet-what = What runs
fleet-digest = Release digest
fleet-open-license = Open the licence
fleet-manage = Manage
fleet-change-parameters = Change parameters
fleet-other-version = Other version
fleet-update = Update
fleet-undeploy = Remove the app
fleet-undeploy-hint = The seat of the licence is free once the node says that the app is gone.
fleet-undeploy-confirm = Remove { $app } from { $node }?
fleet-removal-started = The node takes the app away at its next call.

error-site = There is no such site.
error-site-name-taken = There is a site of this name already.
error-too-many-sites = There can be at most { $max } sites.
error-too-many-states = More changes of state than may be reported in an hour. The node reports the last one again
error-too-many-renewals = The certificate was renewed a short time ago. Try again later
error-too-many-fleet-nodes = There can be at most { $max } nodes. Remove one first
error-node = There is no such node.
error-node-name-taken = This site has a node of this name already.
error-node-removed = The node was removed.
error-enrollment-code-unknown = This enrolment code is not known. Check it, or ask for a new one on the node's page.
error-enrollment-code-used = This enrolment code was used already. Ask for a new one on the node's page.
error-enrollment-code-expired = This enrolment code has expired. Ask for a new one on the node's page.
error-no-nodes = Choose at least one node.
error-too-many-nodes-chosen = At most { $max } nodes at a time.
error-node-not-enrolled = { $node } has not called in yet. Run its command first.
error-node-does-not-fit = The app does not fit { $node }: processor, memory or a device is missing, or its agent is older than the app.
error-deploy-release = There is no such release.
error-release-not-published = This release is not published.
error-deployment = There is no such deployment.
error-deployment-changed = Someone changed this deployment at the same moment. Look at it again.
error-deployment-not-wanted = The app is being removed already.
error-parameter-unknown = The app has no such parameter.
error-parameter-text = Enter a text.
error-parameter-integer = Enter a whole number.
error-parameter-number = Enter a number.
error-parameter-boolean = Must be true or false.
error-parameter-choice = Choose one of the list.
error-parameter-min = Must be at least { $min }.
error-parameter-max = Must be at most { $max }.
fleet-on = on
fleet-off = off
fleet-colon = { ": " }
fleet-plan-changed = Somebody has changed one of these deployments since you looked at this plan, so nothing was started. This is what would change now.
error-release-recalled = The platform has recalled this version. Choose another one.
fleet-recalled = Recalled versions
fleet-recalled-text = The platform has recalled these versions. What runs goes on until you decide: update it, or remove it.
fleet-recalled-why = Why
fleet-next-recalled = The platform has recalled this version: { $reason } The app runs on until you decide. There is no other version for your licence yet: remove the app, or let it run until a correction is published.
fleet-next-recalled-update = The platform has recalled this version: { $reason } The app runs on until you decide. Update it to another version below, or remove it.
fleet-next-recalled-safety = The platform has recalled this version: { $reason } It is a safety app: it runs on, and its alarms may be wrong or missing. Take other precautions, then update it below as soon as there is another version, or remove it.
fleet-next-recalled-blocked = The platform has recalled this version: { $reason } The node does not install it. What ran before goes on. Choose another version below, or remove the deployment.
