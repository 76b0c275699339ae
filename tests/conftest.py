"""What all tests share."""

pytest_plugins = ["tools.versitygw"]
