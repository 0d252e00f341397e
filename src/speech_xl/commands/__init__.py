"""The `speech-xl` command: arguments and printing. What it does is in the layers below."""
