from stepflow_sdk import StepflowServer

server = StepflowServer("greetings")


@server.component
def greet(name: str, punctuation: str = "!") -> str:
    """Say hello."""
    return f"Hello, {name}{punctuation}"


@server.component
def count(text: str) -> dict[str, int]:
    """Count the words and the letters of a text."""
    return {"words": len(text.split()), "letters": sum(letter.isalpha() for letter in text)}


if __name__ == "__main__":
    server.run()
