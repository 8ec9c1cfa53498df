"""What every room shares: errors, files, progress, parameters, a stage's arguments and paths, work spread over cores."""

from octet.core import interrupt

if interrupt.is_own_command():
    interrupt.leave_at_once()
