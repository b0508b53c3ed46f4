"""What both daemons need: the model as data, the planner, the wire, settings, errors."""
