# The Functions worker looks for this file beside host.json; the package of the same name wins the import.
from function_app import app  # noqa: F401
