// The Node cloud function that index.py replaces.
const cloud = require('wx-server-sdk')
cloud.init({ env: cloud.DYNAMIC_CURRENT_ENV })

exports.main = async (event, context) => {
  try {
    return await cloud.openapi.img.aiCrop({ imgUrl: event.imgUrl, ratios: '1,2.35' })
  } catch (err) {
    return err
  }
}
