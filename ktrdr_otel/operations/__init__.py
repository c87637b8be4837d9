"""Operations: their records, their life, and the service that keeps and tells them."""
