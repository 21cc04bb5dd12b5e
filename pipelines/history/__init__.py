"""How numbers change after they were published: restatement, re-pricing, closing, and one whole publish."""
