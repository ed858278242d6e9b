"""What params.yaml may say, and what every other package stands on."""
