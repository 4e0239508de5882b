"""Files that come with a form, bounded before they are kept anywhere."""

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler, SkipFile

MOST_BODY = 17 * 1024 * 1024  # the largest file that a page takes, and the form around it
TOO_LARGE = "headroom.upload_too_large"


class BoundedUpload(FileUploadHandler):
    """Drops the files of a request that says it is larger; its `META` then says so (`TOO_LARGE`)."""

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, Any],  # noqa: N803
        content_length: int,
        boundary: Any,
        encoding: Any = None,
    ) -> None:
        self.dropped = content_length > MOST_BODY
        if self.dropped:
            META[TOO_LARGE] = True

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self.dropped:
            raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None
