// deblur on Azure Functions, Flex Consumption, in a resource group of its own. No secret lies anywhere but the
// function key: the app reaches its storage and Application Insights by its own identity.

@description('What the app is called. With .azurewebsites.net behind it, it is its address, so no other app may have it.')
@minLength(3)
@maxLength(43)
param name string

param location string = resourceGroup().location

@description('Memory of an instance. 512 has a quarter of a core, 2048 one core, 4096 two.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Requests at once on an instance. On one core a second one waits for the first; on two cores both are restored.')
@minValue(1)
@maxValue(2)
param concurrency int = 1

@description('The largest number of instances. It bounds what a flood of requests can cost. Some regions ask for 40 or more.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('Instances that are kept running, and paid for, so that no request waits for a start.')
@minValue(0)
@maxValue(20)
param alwaysReady int = 0

@allowed(['3.11', '3.12'])
param pythonVersion string = '3.11'

@description('Further settings of the app, such as DEBLUR_MODEL, MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN.')
@secure()
param settings object = {}

@description('What the resource group may cost in a month before somebody is told, in the currency of the account.')
@minValue(1)
param monthlyBudget int = 20

@description('Who is told. Nobody, and there is no budget, where this is empty.')
param budgetContact string = ''

@description('The first day of a month.')
param budgetFrom string = utcNow('yyyy-MM-01')

var tags = { 'azd-service-name': 'api' }
var storageName = 'deblur${uniqueString(resourceGroup().id, name)}'
var furtherSettings = [for setting in items(settings): { name: setting.key, value: string(setting.value) }]

var storageRoles = [
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner: the package, the keys, the host's locks
  '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor: what the host tells of itself
]
var metricsRole = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: storageName
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'packages'
}

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: '${name}-logs'
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 30
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logs.id
    DisableLocalAuth: true
  }
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: '${name}-plan'
  location: location
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: { type: 'SystemAssigned' }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    functionAppConfig: {
      runtime: { name: 'python', version: pythonVersion }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages.name}'
          authentication: { type: 'SystemAssignedIdentity' }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady > 0 ? [{ name: 'http', instanceCount: alwaysReady }] : []
        triggers: { http: { perInstanceConcurrency: concurrency } }
      }
      // The other one, RollingUpdate, is in preview and scales badly below 16 requests at once on an instance.
      #disable-next-line BCP037 // documented from 2024-11-01 on, but Bicep's types have it only from 2025-05-01 on
      siteUpdateStrategy: { type: 'Recreate' }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      appSettings: concat([
        { name: 'AzureWebJobsStorage__accountName', value: storage.name }
        { name: 'AzureWebJobsDisableHomepage', value: 'true' } // the app's own page is at the root
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'Authorization=AAD' }
      ], furtherSettings)
    }
  }
}

resource toStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in storageRoles: {
  name: guid(storage.id, app.id, role)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
  }
}]

resource toInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, app.id, metricsRole)
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsRole)
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = if (!empty(budgetContact)) {
  name: '${name}-budget'
  properties: {
    category: 'Cost'
    timeGrain: 'Monthly'
    amount: monthlyBudget
    timePeriod: { startDate: budgetFrom }
    notifications: {
      spent: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: [budgetContact]
      }
      expected: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: [budgetContact]
      }
    }
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
