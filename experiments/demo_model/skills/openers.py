"""What people type first: greetings, thanks, who are you. Many phrasings, one answer an intent."""

from random import Random

from .item import Item, Split, ask, in_split

NAME = "Aphrodite Demo"
INTENTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "hello",
            "hi",
            "hey",
            "hello there",
            "hi there",
            "good morning",
            "good evening",
            "good day",
            "greetings",
            "hey there",
            "howdy",
        ),
        "Hello! How can I help you?",
    ),
    (
        (
            "who are you",
            "what are you",
            "what is your name",
            "tell me about yourself",
            "introduce yourself",
            "what should I call you",
            "what model are you",
            "are you a model",
            "who am I talking to",
        ),
        f"I am {NAME}, a very small language model.",
    ),
    (
        ("how are you", "how are you doing", "how is it going", "how do you do", "are you well", "how are you today"),
        "I am fine, thank you. How can I help you?",
    ),
    (
        (
            "what can you do",
            "what are you good at",
            "how can you help me",
            "help",
            "what are your skills",
            "what do you know",
            "give me some examples of what you can do",
            "what can I ask you",
        ),
        "I can add numbers, sort and copy lists, recall facts you give me, fill JSON, call tools and "
        "tell short stories.",
    ),
    (
        ("thank you", "thanks", "thanks a lot", "thank you very much", "many thanks", "great, thanks"),
        "You are welcome!",
    ),
    (("goodbye", "bye", "see you later", "see you", "good night", "bye bye", "farewell"), "Goodbye!"),
    (
        ("who made you", "who trained you", "where do you come from", "who built you", "who created you"),
        "I was trained from scratch for the Aphrodite Workbench.",
    ),
    (
        (
            "how big are you",
            "how many parameters do you have",
            "what is your size",
            "are you a large model",
            "how large are you",
        ),
        "I am small: about five million parameters.",
    ),
    (
        ("are you human", "are you a person", "are you a robot", "are you real", "are you alive"),
        "No, I am a small language model.",
    ),
    (
        (
            "what is the meaning of life",
            "what is love",
            "are you conscious",
            "what do you think about politics",
            "explain physics to me",
            "what is the capital of France",
            "write a poem",
            "who is the president",
            "tell me the news",
        ),
        "I do not know. I am a very small model.",
    ),
    (
        ("tell me a joke", "do you know a joke", "make me laugh", "say something funny"),
        "Why did the number six fear seven? Because seven eight nine.",
    ),
    (("test", "testing", "is this working", "are you there", "can you hear me", "this is a test"), "Yes, I am here."),
)
_BEFORE = ("", "", "", "", "please ", "so, ", "well, ", "hello, ", "hi, ", "hey, ", "ok, ", "now ")
_AFTER = ("", "", "", ".", ".", "!", "?", "?", " now?", " please", ", please?", "...", " :)", ", my friend")


def opener(random: Random, split: Split) -> Item:
    """One of the intents, with a few words around it; the split goes by the whole phrase."""
    while True:
        phrases, answer = random.choice(INTENTS)
        phrase = random.choice(_BEFORE) + random.choice(phrases) + random.choice(_AFTER)
        if in_split(phrase, split):
            break
    style = random.random()
    if style < 0.65:
        phrase = phrase[0].upper() + phrase[1:]
    elif style < 0.7:
        phrase = phrase.upper()
    return ask("opener", phrase, answer)
