"""Sends requests to the app in a folder through Microsoft's worker library, in an environment that has nothing else.

``python requests_to_staged.py FOLDER ANSWERS`` reads a JSON object a line: function, method, path, and perhaps a file
whose bytes are the body. It prints one a line: status, headers, seconds; the answer's body becomes ANSWERS/NUMBER.
"""

import json
import sys
import time
from pathlib import Path

from worker import Worker  # beside this file

folder, answers = map(Path, sys.argv[1:])
sys.path.insert(0, str(folder))  # as the host starts it
worker = Worker(folder)
print(json.dumps(sorted(worker.functions)))
for number, line in enumerate(sys.stdin):
    asked = json.loads(line)
    body = Path(asked["file"]).read_bytes() if asked["file"] else b""
    started = time.perf_counter()
    status, headers, answer = worker.invoke(asked["function"], asked["method"], asked["path"], body)
    seconds = time.perf_counter() - started
    (answers / str(number)).write_bytes(answer)
    print(json.dumps({"status": status, "headers": headers, "seconds": seconds}))
