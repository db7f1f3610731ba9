"""Everything vidstyle raises on purpose.

    VidstyleError                 exit status 1: the work failed
    ├── DecodeError               the source could not be read further
    ├── EncodeError               the result could not be written (disk full, encoder refused)
    ├── DeviceMemoryError         the device ran out of memory
    └── RequestError              exit status 2: the request was wrong, no work was done
        ├── SettingsError         a number or name outside what is allowed
        ├── InputError            a clip, picture or weights file that cannot be used
        └── OutputError           a target that exists, or a folder that cannot be written

A message is one line: the value, the rule, the next step.
"""


class VidstyleError(Exception):
    exit_status = 1


class DecodeError(VidstyleError):
    pass


class EncodeError(VidstyleError):
    pass


class DeviceMemoryError(VidstyleError):
    pass


class RequestError(VidstyleError):
    exit_status = 2


class SettingsError(RequestError, ValueError):
    pass


class InputError(RequestError):
    pass


class OutputError(RequestError):
    pass
