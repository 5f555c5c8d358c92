"""The ops of the engine. One op a file: its public function, a plain-torch reference, the native launcher, its cases.

Every op keeps one promise: the result for a row does not depend on the other rows of the call, their number or order,
on how a prompt is cut into chunks, or on the number of threads.
"""
