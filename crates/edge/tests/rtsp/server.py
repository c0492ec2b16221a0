"""Cameras for the tests: GStreamer's RTSP server (Debian: gir1.2-gst-rtsp-server-1.0), which encodes live.

server.py PORT [--login basic|digest USER PASSWORD]. Paths: /h264, /h265, /vp8, /change (another size after 4 s), /stall (no more pictures
after 4 s), /black (black after 4 s). Prints "ready" when it listens; ends with its standard input.
"""
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
SOURCE = "videotestsrc name=src is-live=true pattern=ball ! capsfilter name=caps caps=video/x-raw,width=320,height=240,framerate=25/1 ! valve name=valve"
H264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bframes=0 ! rtph264pay name=pay0 pt=96 config-interval=1"
H265 = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph265pay name=pay0 pt=96 config-interval=1"
VP8 = "vp8enc deadline=1 ! rtpvp8pay name=pay0 pt=96"


class Factory(GstRtspServer.RTSPMediaFactory):
    def __init__(self, encoder, after=None):
        super().__init__()
        self.set_launch(f"( {SOURCE} ! {encoder} )")
        self.after = after

    def do_configure(self, media):
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        if self.after:
            GLib.timeout_add_seconds(4, lambda: self.after(media.get_element()) and False)


def change(pipeline):
    pipeline.get_by_name("caps").set_property("caps", Gst.Caps.from_string("video/x-raw,width=640,height=360,framerate=25/1"))


def stall(pipeline):
    pipeline.get_by_name("valve").set_property("drop", True)


def black(pipeline):
    pipeline.get_by_name("src").set_property("pattern", 2)


port, login = sys.argv[1], sys.argv[3:6]
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
factories = {"h264": Factory(H264), "h265": Factory(H265), "vp8": Factory(VP8), "change": Factory(H264, change), "stall": Factory(H264, stall),
             "black": Factory(H264, black)}
if login:
    kind, user, password = login
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if kind == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        from gi.repository import GstRtsp

        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    server.set_auth(auth)
for name, factory in factories.items():
    factory.set_shared(False)
    if login:
        rights = Gst.Structure.new_from_string("viewer,media.factory.access=true,media.factory.construct=true")
        factory.add_role_from_structure(rights[0] if isinstance(rights, tuple) else rights)
    server.get_mount_points().add_factory(f"/{name}", factory)
if not server.attach(None):
    sys.exit("cannot listen")
print("ready", flush=True)
loop = GLib.MainLoop()
threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
loop.run()
