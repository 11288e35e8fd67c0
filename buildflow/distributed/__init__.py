"""From one machine to many, on TaskFlow's jobboards and a shared store.

Rules: nothing distributed is written by hand except the guards that jobboards lack. A jobboard says
who works on a build now; the store's epoch says who may write; the build's row says how it ended.
"""
