"""`landfast torture`, in `command`. A worker of it is a process of its own and loads none of the command line."""
