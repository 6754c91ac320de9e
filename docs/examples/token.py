import base64, hashlib, hmac, json, os, time


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def access_token(key_id: str, key: str, channel: str, role: str | list[str], seconds: int = 600) -> str:
    header = encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": key_id}).encode())
    exp = int(time.time()) + seconds
    claims = encode(json.dumps({"aud": "hibari", "channel_id": channel, "role": role, "exp": exp}).encode())
    signature = hmac.new(key.encode(), f"{header}.{claims}".encode(), hashlib.sha256).digest()
    return f"{header}.{claims}.{encode(signature)}"


print(access_token(os.environ["HIBARI_SIGNING_KEY_ID"], os.environ["HIBARI_SIGNING_KEY"], "hello", ["sendonly", "recvonly"]))
