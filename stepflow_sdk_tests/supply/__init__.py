"""What the package brings with it: licences, and known vulnerabilities."""
