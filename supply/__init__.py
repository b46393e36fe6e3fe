"""What Fleetcast is made of: pinned packages and their hashes, known vulnerabilities, licences, the SBOM."""
