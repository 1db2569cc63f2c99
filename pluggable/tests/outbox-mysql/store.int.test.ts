import { describeStore } from '../store-suite.ts'
import { mysqlUnderTest, withSettings } from '../stores.ts'

describeStore(mysqlUnderTest())
describeStore(withSettings(mysqlUnderTest(), { groupCommit: 'false' }), ' without group commit')
