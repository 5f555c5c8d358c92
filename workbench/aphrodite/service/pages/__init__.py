"""What people see in a browser: the entrance at `/`, and the playground, which runs in a process of its own."""
