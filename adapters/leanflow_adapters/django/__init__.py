"""A Django application with one command, ``leanflow_worker``. Its views are in `leanflow_adapters.web.django`.

Name it in ``INSTALLED_APPS`` as ``leanflow_adapters.django``. It has no models: leanflow's tables are the store's.
"""
