"""chat, a service of our own: rooms, presence and a streaming assistant over Phoenix Channels v2.

Every node keeps every room on its disk and serves WebSockets; the stock `phoenix` client of npm can
talk to it. The README beside this file says what it promises and what happens when something fails.
Ten mutants are wrong in one way each.
"""

from targets.chat.client import ChatClient
from targets.chat.kept import kept
from targets.chat.presence import presence
from targets.chat.streams import streams
from targets.chat.target import Chat
from targets.chat.workload import chat_workload

__all__ = ["Chat", "ChatClient", "chat_workload", "kept", "presence", "streams"]
