"""What targets with blocks of threads share: how tiles are spread over threads (`mapping`), and L1 to their plan
(`lower`). What differs between those targets is one frozen table, `Limits`. Uses `targets.fusion`, `ir` and `plan`."""
