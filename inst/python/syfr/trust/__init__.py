"""Who is who: keys, certificates, credentials bundles, and what an identity may do."""
