"""An example. Every file of this folder is loaded; `docker-compose restart worker` makes a change live."""

from pydantic import BaseModel

from task_worker import Context, handler


class Text(BaseModel):
    """What the task is given."""

    text: str


@handler("text.count", timeout_seconds=10)
async def count(payload: Text, context: Context) -> dict[str, int]:
    """Count the words of a text."""
    words = payload.text.split()
    context.progress(50, f"{len(words)} words, now the different ones")
    return {"words": len(words), "different": len({word.lower() for word in words})}
