"""What people and machines see of a run: logs, metrics, health, progress, and the equation at its end.

Everything here is made from the events of `events.py`. One pure function, `state.reduce`, folds them into a `State`; metrics, health
and progress are functions of that state. Observing never stops the work: nothing here raises into the engine or makes it wait.
"""
