"""Where runs are trained: in this process or by local workers."""
