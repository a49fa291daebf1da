from stepflow_sdk import StepflowServer

from . import comparison, files, measures, report

server = StepflowServer("documents")
for module in (files, measures, comparison, report):
    server.include(module.router)

if __name__ == "__main__":
    server.run()
