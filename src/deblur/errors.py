"""Every error a person can act on.

    DeblurError
    ├── PhotoError               the image that came in
    │   ├── UnreadablePhoto      not an image, broken, or cut short
    │   ├── UnsupportedPhoto     an image, but of a kind we do not restore
    │   └── PhotoTooLarge        more pixels, bytes or work than the limits allow
    ├── RequestError             a parameter or body that makes no sense
    ├── SlowBody                 a body that took too long to come
    ├── ServiceBusy              more requests than the service can hold
    ├── ModelError               a model that is missing, broken or fails its checks
    │   └── NoSuchModel          a registry answered that it does not have it
    ├── DataError                a training set that cannot be used
    ├── SettingError             a setting that cannot work
    ├── NonFiniteTraining        loss or gradients stopped being numbers
    ├── DiskFull                 no room for a file
    ├── FolderInUse              another process works in the output folder
    ├── TrackerError             the tracking server refused or did not answer
    └── RegistrationError        a model that could not be verified or registered

Each carries a stable ``code`` for machines, the ``exit_code`` of a command that it ends, and a sentence for people:
what came, what is allowed, what to do.
"""


class DeblurError(Exception):
    """Base of all errors that are answered with a sentence instead of a traceback."""

    code = "deblur-error"
    exit_code = 1


class PhotoError(DeblurError):
    """The image that came in cannot be restored."""

    code = "photo"


class UnreadablePhoto(PhotoError):
    """Not an image, broken, or cut short."""

    code = "photo-unreadable"


class UnsupportedPhoto(PhotoError):
    """An image of a kind that is not restored."""

    code = "photo-unsupported"


class PhotoTooLarge(PhotoError):
    """More pixels, bytes or decoding work than the limits allow."""

    code = "photo-too-large"


class RequestError(DeblurError):
    """A request whose parameters or body make no sense."""

    code = "request-invalid"


class SlowBody(DeblurError):
    """A request whose body took too long to come."""

    code = "body-too-slow"


class ServiceBusy(DeblurError):
    """All slots and the queue are taken; ``retry_after_s`` says when it may be tried again, where that is known."""

    code = "service-busy"

    def __init__(self, sentence: str, retry_after_s: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class ModelError(DeblurError):
    """A model that is missing, broken or fails its checks."""

    code = "model-unavailable"


class NoSuchModel(ModelError):
    """A registry answered that it has no such model, alias or version."""


class DataError(DeblurError):
    """A training set that cannot be used."""

    code = "data"


class SettingError(DeblurError):
    """A setting, or a combination of settings, that cannot work."""

    code = "setting"


class NonFiniteTraining(DeblurError):
    """Loss or gradients were not finite for too many steps."""

    code = "non-finite"
    exit_code = 3


class DiskFull(DeblurError):
    """There is no room for a file; the one that was there is untouched."""

    code = "disk-full"
    exit_code = 4


class TrackerError(DeblurError):
    """The tracking server refused or did not answer; the record on disk is complete."""

    code = "tracker"


class RegistrationError(DeblurError):
    """A model that could not be verified or registered."""

    code = "registration"
    exit_code = 5


class FolderInUse(DeblurError):
    """Another process works in the same output folder."""

    code = "folder-in-use"
    exit_code = 6
